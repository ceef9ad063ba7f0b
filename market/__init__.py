"""A market in a box: the price process, the position policy, performance measures, and the embedded exchange."""
