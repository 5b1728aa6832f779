# Completion of gomem for fish: commands, options as --help has them, files.
complete -c gomem -n __fish_use_subcommand -f -a "(gomem --help 2>/dev/null | sed -n 's/^  gomem \([a-z]\{1,\}\).*/\1/p') --help --version"
complete -c gomem -n "not __fish_use_subcommand; and string match -qr -- '^-[^=]*\$' (commandline -ct)" -f \
	-a "(gomem (commandline -opc)[2] --help 2>/dev/null | grep -o -e '--[a-z][a-z-]*' | sort -u)"
