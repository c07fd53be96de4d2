# Completion of tadka for fish. In ~/.config/fish/config.fish: tadka completion fish | source
function __tadka_complete
    set --local words (commandline --current-process --tokenize --cut-at-cursor)
    set --local found ($words[1] completion fish --line (commandline --current-process --cut-at-cursor | string collect) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline --current-token)
    end
end
complete --command tadka --no-files --keep-order --arguments '(__tadka_complete)'
