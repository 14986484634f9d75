// Package access says who asks: it keeps the daemon's keys and finds the owner of the key that a request carries.
//
// A key is a secret of any form; those made here have E2B's, "e2b_" and 40 hexadecimal digits. Keys are compared in constant time and
// never shown. What an owner may have is fleet.Limits; what may be done without a key is the routes' own affair.
//
// Keys never change once made, so any number of goroutines may use them. Start at New, or at File for the key that the daemon makes itself.
package access
