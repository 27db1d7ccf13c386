"""Sources of images: a user's own, published collections, and phantoms."""
