// The official JavaScript SDK (npm @elevenlabs/elevenlabs-js): `python -m tests.foreign javascript`.

import { ElevenLabsClient } from "@elevenlabs/elevenlabs-js";

const text = process.env.TEXT;
const voice = "JBFqnCBsd6RMkjVDRZzb";
const client = new ElevenLabsClient({ apiKey: "any", baseUrl: process.argv[2] });

function tell(did, audio) {
  console.log(JSON.stringify(audio ? { did, format: "pcm_16000", audio: audio.toString("base64") } : { did }));
}

function check(did, good) {
  if (!good) throw new Error(did);
  tell(did);
}

async function whole(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const outputFormat = "pcm_16000";
for (const modelId of ["eleven_flash_v2_5", "eleven_v3", "eleven_v4_turbo"]) {
  const request = { text, modelId, outputFormat };
  tell(`convert ${modelId}`, await whole(await client.textToSpeech.convert(voice, request)));
  tell(`stream ${modelId}`, await whole(await client.textToSpeech.stream(voice, request)));
}
const timed = [];
const request = { text, modelId: "eleven_flash_v2_5", outputFormat };
for await (const line of await client.textToSpeech.streamWithTimestamps(voice, request)) {
  timed.push(Buffer.from(line.audioBase64, "base64"));
}
tell("streamWithTimestamps", Buffer.concat(timed));
const inputs = [{ text, voiceId: voice }];
tell("textToDialogue.stream", await whole(await client.textToDialogue.stream({ inputs, outputFormat })));

check("voices.search", (await client.voices.search({ search: "george", pageSize: 1 })).voices[0].voiceId === voice);
check("voices.get", (await client.voices.get(voice)).name === "George");
check("voices.settings.get", (await client.voices.settings.get(voice)).stability === 0.5);
check("models.list", (await client.models.list()).some((model) => model.modelId === "eleven_v4_turbo"));
check("user.get", (await client.user.get()).subscription.characterCount > 0);
check("history.list", (await client.history.list({ pageSize: 1 })).history[0].text === text);
const refused = await client.textToSpeech
  .convert(voice, { text: "", modelId: "eleven_v3" })
  .catch((error) => error);
check("a refusal", refused.statusCode === 400 && refused.body.detail.status === "input_text_empty");
