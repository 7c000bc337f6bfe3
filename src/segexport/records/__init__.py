"""Records of a run that other tools read: model cards, bills of materials, attestations, experiment trackers."""
