package cli

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/internal/contract"
)

// nearest are the words that a mistyped one may mean: those at most two edits away, or that
// begin with it.
func nearest(word string, known []string) (near []string) {
	for _, k := range known {
		if word != "" && (strings.HasPrefix(k, word) || edits(word, k) <= min(2, len(word)/2)) {
			near = append(near, k)
		}
	}
	slices.Sort(near)
	return slices.Compact(near)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// didYouMean is the end of a sentence; empty if nothing is near.
func didYouMean(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return ", did you mean " + strings.Join(near, " or ") + "?"
}

// requestsOf are the requests of a root: "agent.set", "agents.list".
func requestsOf(root string) map[string]contract.Message {
	if root == "queries" {
		return contract.Queries
	}
	return contract.Commands
}

// nouns are the first tokens of the requests of a root.
func nouns(root string) (all []string) {
	for name := range requestsOf(root) {
		noun, _, _ := strings.Cut(name, ".")
		all = append(all, noun)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// suggestion is what the subject of a refused request may have meant; empty = nothing, or the
// refusal is for another reason.
func suggestion(root, subject string, refusal []byte) string {
	var no struct{ Error struct{ Code string } }
	if json.Unmarshal(refusal, &no) != nil || no.Error.Code != "command.unknown" && no.Error.Code != "query.unknown" {
		return ""
	}
	tokens := strings.Split(subject, ".")
	if i := slices.Index(tokens, root); i >= 0 {
		tokens = tokens[i+1:]
	}
	if len(tokens) < 2 {
		return ""
	}
	verb := tokens[len(tokens)-1]
	if all := nouns(root); !slices.Contains(all, tokens[0]) {
		tokens[0] = strings.Join(nearest(tokens[0], all), " or ")
		if tokens[0] == "" {
			return ""
		}
		return ", did you mean " + strings.Join(tokens, ".") + "?"
	}
	var verbs []string
	for name := range requestsOf(root) {
		if noun, v, _ := strings.Cut(name, "."); noun == tokens[0] {
			verbs = append(verbs, v)
		}
	}
	return didYouMean(nearest(verb, verbs))
}
