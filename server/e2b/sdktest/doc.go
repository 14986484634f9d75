// Package sdktest tests the daemon by programs on E2B's published SDKs, for JavaScript and Python, that use every method these have.
//
// The programs are in js and python. Each is a list of checks and prints a line for each, "ok NAME", "FAIL NAME: WHY" or "skip NAME: WHY",
// which the test shows as tests of its own. package.json, package-lock.json and requirements.txt pin the SDKs;
// `make test-clients` installs them.
package sdktest
