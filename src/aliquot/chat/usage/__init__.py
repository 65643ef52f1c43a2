"""How much the chat is used: counts and durations of runs, for administrators. It opens no content."""
