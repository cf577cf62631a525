package natsio

// PositionInterval is the number of events without a change to a target after
// which a view writes its position there, at the end of the batch. A restart
// folds at most this many events again.
const PositionInterval = 5000

// RevisionHeader is the message header that carries the revision of an event, for
// messages whose body does not, such as deletions.
const RevisionHeader = "Tidemark-Revision"
