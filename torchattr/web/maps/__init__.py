"""The viewer of a store of maps: pages of pictures with their maps, without a model."""
