# Completion of gomem for bash: commands, options as --help has them, files.
_gomem() {
	local command=$1 current=$2 words
	if [ "$COMP_CWORD" = 1 ]; then
		words="$("$command" --help 2>/dev/null | sed -n 's/^  gomem \([a-z]\{1,\}\).*/\1/p') --help --version"
	elif [[ $current == -* ]]; then
		words=$("$command" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -o -e '--[a-z][a-z-]*' | sort -u)
	else
		compopt -o default
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _gomem gomem
