"""Who saw patient data, when and by which way; and access taken in an emergency."""
