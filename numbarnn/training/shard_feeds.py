"""What a rank takes of the updates of all ranks: batches of its shards, whole or in pieces."""

from .feeds import Feed
from .pieces import gradient_of_piece
from .shards import Shards


class ShardFeed(Feed):
    """What each rank takes of the updates of all ranks; a batch is the number of one.

    Parameters
    ----------
    course : Course
        Its gradient is the array into which the shards write theirs, and it has their states (is modified).
    samples : Samples
        The samples of this rank.
    shards : Shards
    measures : Measures or None
        Of the samples of all ranks, where metrics are to be measured on them.
    """

    def __init__(self, course, samples, shards: Shards, measures=None):
        self.course, self.samples, self.shards, self.count, self._measures = course, samples, shards, shards.count, measures

    def depends(self):
        feedback = self.samples.feedback
        return self.shards.depends() | ({} if feedback is None else {"feedback": feedback._told})

    def epoch(self, number, done):
        return self.shards.epoch(number, done, self.course.shard_states)

    def take(self, group, checked):
        def gradient_of(shard, index, chosen, span):
            course, samples = self.course, self.samples
            if span is None:
                value = checked(index, course.workspaces.gradient(samples, chosen, course.loss, shard.masks))
                over = float(self.shards.counts[chosen].sum())
                return value * over, over
            initial = shard.carried if span[0] else None
            shard.carried = None
            found = gradient_of_piece(course, samples, chosen, span, shard.masks, initial, lambda loss: checked(index, loss))
            if span[1] < samples.lengths_of_x[chosen].max():
                shard.carried = course.workspaces.final()
            return found

        found = self.shards.take(group, gradient_of)
        self.course.shard_states = self.shards.states
        return found

    def loss(self, total, counted):
        return self.shards.loss()

    def followed(self, ends):
        return self.shards.follow(ends) if self.shards.followed else ends

    def measured(self):
        return self._measures(self.course.network, self.course.loss, self.course.metrics)[1]

    def check_begun(self):
        self.shards.check_states(self.course.shard_states)

    def not_finite(self):
        return self.samples.not_left_out()
