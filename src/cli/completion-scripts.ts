import type { shells } from './completion.ts'

const bash = `# Completion of dctl for bash. Load it with: source <(dctl completion bash)
_dctl() {
  local current="\${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = ':files' ]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _dctl dctl
`

const zsh = `#compdef dctl
# Completion of dctl for zsh. Load it, after compinit, with: source <(dctl completion zsh)
_dctl() {
  local line
  local -a candidates
  for line in "\${(@f)$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == ':files' ]]; then
      _files
      return
    fi
    if [[ $line == *$'\\t'* ]]; then
      candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    elif [[ -n $line ]]; then
      candidates+=("\${line//:/\\\\:}")
    fi
  done
  _describe dctl candidates
}
compdef _dctl dctl
`

const fish = `# Completion of dctl for fish. Load it with: dctl completion fish | source
function __dctl_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l candidates ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
  if contains -- ':files' $candidates
    __fish_complete_path "$current"
  else
    string join \\n -- $candidates
  end
end
complete -c dctl -f -a '(__dctl_complete)'
`

/** The script that makes a shell ask dctl for its completions. */
export const completionScripts: Record<(typeof shells)[number], string> = { bash, zsh, fish }
