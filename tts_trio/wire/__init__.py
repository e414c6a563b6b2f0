"""The protocol, sans-IO: what is written to ElevenLabs and what it answers. No trio, no sockets, no clock."""
