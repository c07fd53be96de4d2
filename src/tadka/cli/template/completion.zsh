#compdef tadka
# Completion of tadka for zsh. In ~/.zshrc: eval "$(tadka completion zsh)"
_tadka() {
    local -a told
    local value text
    while IFS=$'\t' read -r value text; do
        told+=("${value//:/\\:}${text:+:$text}")
    done < <("${(Q)words[1]}" completion zsh --line "${(j: :)words[1,CURRENT]}" 2>/dev/null)
    if (( ${#told} )); then
        _describe -V tadka told
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == _tadka ]]; then
    _tadka "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _tadka tadka
fi
