package main

import (
	"context"
	"errors"
)

func socket(context.Context, int) (*measure, error) { return nil, errors.New("wait") }
