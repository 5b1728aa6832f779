// commands.h: the subcommands of `gomem`. argv[0] is the name of the subcommand; the result is the exit code:
// 0 success, 1 a difference was found, 2 bad usage or bad input.
#ifndef GOMEM_CLI_COMMANDS_H
#define GOMEM_CLI_COMMANDS_H

int gomem_replay_main(int argc, char **argv);
int gomem_record_main(int argc, char **argv);
int gomem_dump_main(int argc, char **argv);
int gomem_whatif_main(int argc, char **argv);
int gomem_info_main(int argc, char **argv);
int gomem_stat_main(int argc, char **argv);
int gomem_report_main(int argc, char **argv);
int gomem_layout_main(int argc, char **argv);
int gomem_explain_main(int argc, char **argv);
int gomem_os_main(int argc, char **argv);
int gomem_graft_main(int argc, char **argv);

#endif
