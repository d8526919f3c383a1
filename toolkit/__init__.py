"""The domain of vr: video, mining, patches, networks, losses, training and evaluation."""
