"""Keys and certificates of the CA itself: made from the configuration, or by a plan under a root that is offline."""
