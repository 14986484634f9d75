package fleet

import "context"

// Target is the sandbox, and the port in it, that a request is for.
type Target struct {
	ID   string
	Port int
}

type (
	memberKey struct{}
	targetKey struct{}
)

// With is ctx with the member that a request is for.
func With(ctx context.Context, m *Member) context.Context {
	return context.WithValue(ctx, memberKey{}, m)
}

// From is the member that a request is for; nil when its sandbox is not there, or it is for none.
func From(ctx context.Context) *Member {
	m, _ := ctx.Value(memberKey{}).(*Member)
	return m
}

// WithTarget is ctx with what a request of sandbox traffic asks for, whether or not that is there.
func WithTarget(ctx context.Context, t Target) context.Context {
	return context.WithValue(ctx, targetKey{}, t)
}

// TargetOf is what WithTarget kept; ok is false when the request is no sandbox traffic.
func TargetOf(ctx context.Context) (t Target, ok bool) {
	t, ok = ctx.Value(targetKey{}).(Target)
	return t, ok
}

type requestKey struct{}

// WithRequest is ctx with the id of the request that it is of, for the log.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// requestOf is the id of the request of ctx; "" when it is of none.
func requestOf(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
