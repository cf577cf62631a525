package readmodel

import "errors"

// DeclaredRow is a row of a declared view.
type DeclaredRow struct {
	Key  string
	JSON []byte // an object of the key and the columns
}

// ErrDeclaredChanged means that the rows of a declared view are of another definition than
// the reader has checked.
var ErrDeclaredChanged = errors.New("the definition of the view has changed")

// DeclaredList is a query for a page of a declared view, in the order of the keys.
type DeclaredList struct {
	Where []ColumnEquals
	After string // the last key seen
	Limit int
}

// ColumnEquals is a column, its type, and the value that it must have; nil = null.
type ColumnEquals struct {
	Column, Type string
	Value        *string
}
