// Package verify compares the fold of the history with every tier, on demand, by samples
// in the background, and repairs the rows that differ.
package verify
