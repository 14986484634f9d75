// Package e2b is E2B's protocol, put together from its parts for a daemon: the control plane (package control), requests for
// sandboxes' ports (package traffic), the in-sandbox API (package envd) and the code interpreter (package interpreter).
//
// It owns nothing but how the parts are joined; sdktest, below it, holds programs on E2B's own SDKs that it is tested with. Start at New.
package e2b
