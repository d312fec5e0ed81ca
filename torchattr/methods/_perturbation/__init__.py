"""What the perturbation methods share: features, masks, and scores of changed copies."""
