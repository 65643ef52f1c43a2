"""The command `aliquot`: serve, worker, chat, user, db, models, doctor. Turns failures into sentences and exit codes."""
