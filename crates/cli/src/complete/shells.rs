//! The scripts that teach shells to ask. Each asks this program again, at every press of the key:
//! they know no command and never go stale.

/// The script for a shell, for the program called `prog`.
pub(crate) fn script(shell: &str, prog: &str) -> Option<String> {
    let text = match shell {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        "powershell" => POWERSHELL,
        _ => return None,
    };
    Some(text.replace("PROG", prog))
}

// The answer is one word a line, its purpose behind a tab; the last line is `:` and a number whose
// bit 4 says that file names make no sense here.

const BASH: &str = r#"# bash completion for PROG; load it with: source <(PROG completion bash)
__PROG_complete() {
    local cur words cword line out last
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur words cword
    else
        cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    out=$("${words[0]}" __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null) || return
    last=${out##*$'\n'}
    COMPREPLY=()
    while IFS=$'\t' read -r line _; do
        [[ $line == :* || -z $line ]] || COMPREPLY+=("$line")
    done <<<"$out"
    # readline replaces only what follows the last = or : of the word.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local head=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"${head#*=}"}")
    fi
    if (( (${last#:} & 4) == 0 && ${#COMPREPLY[@]} == 0 )); then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${cur#*=}")
    fi
}
complete -F __PROG_complete PROG
"#;

const ZSH: &str = r#"#compdef PROG
# zsh completion for PROG; load it with: source <(PROG completion zsh)
_PROG() {
    local -a answers offers
    local line last
    answers=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    last=${answers[-1]}
    for line in "${(@)answers[1,-2]}"; do
        [[ -z $line ]] && continue
        offers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    compset -P '*='
    (( $#offers )) && _describe -V 'PROG' offers
    (( (${last#:} & 4) == 0 )) && _files
    return 0
}
if [[ $funcstack[1] == _PROG ]]; then _PROG "$@"; else compdef _PROG PROG; fi
"#;

const FISH: &str = r#"# fish completion for PROG; load it with: PROG completion fish | source
function __PROG_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answers ($words[1] __complete $words[2..-1] 2>/dev/null)
    set -l last (string replace ':' '' -- $answers[-1])
    set -l head (string match -r -- '^--?[a-z-]+=' (commandline -ct))
    for line in $answers[1..-2]
        echo -- "$head$line"
    end
    if test -n "$last"; and test (math "bitand($last, 4)") -eq 0
        __fish_complete_path (commandline -ct)
    end
end
complete -c PROG -f -a '(__PROG_complete)'
"#;

const POWERSHELL: &str = r#"# for powershell: PROG completion powershell | Out-String | iex
Register-ArgumentCompleter -Native -CommandName PROG -ScriptBlock {
    param($word, $ast, $position)
    $words = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($word -eq '') { $words += '' }
    PROG __complete @words 2>$null | Where-Object { $_ -notmatch '^:' } | ForEach-Object {
        $text, $about = $_ -split "`t", 2
        if (-not $about) { $about = $text }
        [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $about)
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn every_shell_has_its_script_and_no_other() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let text = script(shell, "estiba").unwrap();
            assert!(text.contains("estiba") && !text.contains("PROG"), "{shell}");
        }
        assert!(script("tcsh", "estiba").is_none());
    }
}
