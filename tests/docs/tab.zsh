# Prints what zsh offers for a command line: tab.zsh FOLDER LINE. A second zsh on a terminal of its own reads
# the line, presses TAB, and lists between two marks.
zmodload zsh/zpty
zpty tab zsh -f -i
{
  zpty -w tab "PS1=; PROMPT=; RPROMPT=; setopt NO_BEEP NO_ZLE_BRACKETED_PASTE 2>/dev/null; stty cols 200 rows 200"
  zpty -w tab "unset zle_bracketed_paste; fpath=(${(q)1} \$fpath); autoload -Uz compinit && compinit -u -D"
  zpty -w tab "zstyle ':completion:*' verbose no; zstyle ':completion:*' list-prompt ''"
  zpty -w tab 'show() { compadd() { local -a found; builtin compadd -O found "$@"; print -rl -- "" "<<offered" $found "offered>>"; builtin compadd "$@" }; _main_complete; unfunction compadd; compstate[insert]= ; compstate[list]= ; print -r -- "" "<<"completed">>" }'
  zpty -w tab "zle -C show list-choices show; bindkey '^I' show; print -r ready-'to'-complete"
  zpty -r tab seen '*ready-to-complete*'
  zpty -n -w tab "$2"$'\t'
  # The words come in lists between marks, and then a mark that there is no more. Nothing is typed before it:
  # zsh gives up a completion when there is more to read.
  zpty -r tab seen '*<<completed>>*'
  inside=0
  for word in ${(f)seen}; do
    word=${word//$'\r'/}
    case $word in
      *'<<offered') inside=1 ;;
      'offered>>'*) inside=0 ;;
      *) (( inside )) && print -r -- $word ;;
    esac
  done
} always {
  zpty -d tab
}
exit 0
