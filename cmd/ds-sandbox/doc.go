// Command ds-sandbox runs data-science code in stateful sandboxes from the command line.
//
// Each subcommand is a file. Its logic is a function of a context, the streams and its options, which tests
// call in-process; main only catches signals. Every flag can be given by a DS_SANDBOX_... variable too.
//
// Exit codes: 0 success; 1 the code raised or reached a limit; 2 wrong usage, or a file or folder that can't be used; 3 the
// sandbox failed, for instance there is no Python or the kernel died; 124 the run timed out; 130 interrupted; 141 the
// reader of the output went away; 143 terminated; and n when the code ended by sys.exit(n).
package main
