"""What is computed about a film, a shot, a clip; and how samples are stored."""
