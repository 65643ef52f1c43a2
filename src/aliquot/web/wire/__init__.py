"""Stream encoders: pure functions from run events to the frames of a wire format. They need no request and no database."""
