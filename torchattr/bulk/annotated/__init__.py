"""Pictures of users whose objects have boxes, and methods benchmarked on them."""
