// Package rebuild folds a view again beside the live one, compares the digests and swaps;
// or folds it in place.
package rebuild
