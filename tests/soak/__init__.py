"""The long run: hours of a workshop, compressed, in front of a collector whose memory and files are watched."""
