package envdpb

// protoc, and protoc-gen-go v1.36.11 and protoc-gen-connect-go v1.19.1 on PATH. From the folder above: agentpb has files of the same names.
//go:generate protoc -I.. -I../../../../agent/agentpb/include --go_out=.. --go_opt=paths=source_relative --connect-go_out=.. --connect-go_opt=paths=source_relative,package_suffix= envdpb/process.proto envdpb/filesystem.proto
