// Package fleet keeps the sandboxes of a daemon: whose they are, what they are made from, how long they live.
//
// A [Fleet] stands on one sandbox.Engine. A [Member] is one of its sandboxes, together with what the engine does not know: its owner,
// its tokens, the end of its life (a kill or a pause), its network as it was asked for, its figures and its log. Snapshots, forks,
// templates and quotas are here too, because every dialect of the server means the same by them. It knows nothing of HTTP.
//
// Every method may be called by several goroutines. Pauses, resumes and forks of a member follow one another; a kill waits for nothing.
// The goroutines are one that looks whether sandboxes are still there, and those of timers that have gone off and of kills under way;
// Fleet.Close waits for them.
//
// Start at New and Fleet.Create.
package fleet
