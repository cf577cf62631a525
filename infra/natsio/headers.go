package natsio

// markEvery is how many events may pass a bucket by before it is told the
// position all the same, after the batch that they end in; a restart folds at
// most those again for nothing.
const MarkEvery = 5000

// revisionHeader carries the revision on a deletion, which has no value.
const RevisionHeader = "Tidemark-Revision"
