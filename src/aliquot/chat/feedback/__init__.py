"""What people think of answers: one rating per person and answer, with a sealed comment, for administrators to read and export."""
