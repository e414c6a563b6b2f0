"""Streaming ElevenLabs speech for trio voice agents."""
