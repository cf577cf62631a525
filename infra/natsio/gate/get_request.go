package gate

import "time"

// getRequest is a read of messages, by the API of the leader or of any replica.
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	Last      string     `json:"last_by_subj,omitempty"`
	Next      string     `json:"next_by_subj,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpToSeq   uint64     `json:"up_to_seq,omitempty"`
	UpToTime  *time.Time `json:"up_to_time,omitempty"`
	NoHeaders bool       `json:"no_hdr,omitempty"`
}

// selects are the subjects to which the server limits its answer; ok is false where it may
// answer messages of any subject: a number or a time says nothing about whose a message is,
// and the server ignores members of a request that its API does not have.
func (req *getRequest) selects(last string, direct bool) (subjects []string, ok bool) {
	switch {
	case last != "":
		return []string{last}, true
	case req.Last != "":
		return []string{req.Last}, req.Seq == 0 && req.StartTime == nil && req.Next == "" && len(req.MultiLast) == 0
	case req.Next != "":
		return []string{req.Next}, len(req.MultiLast) == 0
	case direct:
		return req.MultiLast, len(req.MultiLast) > 0
	}
	return nil, false
}
