# Completion of tadka for bash. In ~/.bashrc: eval "$(tadka completion bash)"
_tadka() {
    local line="${COMP_LINE:0:COMP_POINT}" word taken="" value
    word="${line##*[[:space:]]}"
    # bash takes what ends in : or = for a word of its own, and puts a candidate behind it
    [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]] && taken="${word%"${word##*:}"}"
    [[ "${word#"$taken"}" == *=* && "$COMP_WORDBREAKS" == *=* ]] && taken="${word%"${word##*[:=]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        COMPREPLY+=("$(printf '%q' "${value#"$taken"}")")
    done < <("$1" completion bash --line "$line" 2>/dev/null)
}
complete -o default -F _tadka tadka
