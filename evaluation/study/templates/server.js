// Talking to the study's server: what it does not confirm is sent again until it does.

const TOKEN = document.querySelector("meta[name=form-token]").content;
const LONGEST_WAIT = 8000;
const notice = document.getElementById("notice");

export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export function say(words) {
  notice.textContent = words;
  notice.hidden = !words;
}

export async function ask(path, content) {
  for (let wait = 500; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    const answer = await attempt(path, content);
    if (answer && answer.status < 500) return settle(answer);
    say("No connection to the study. Nothing is lost; trying again …");
    await new Promise((resume) => setTimeout(resume, wait));
  }
}

async function attempt(path, content) {
  const request = { credentials: "same-origin", cache: "no-store" };
  if (content !== undefined) {
    request.method = "POST";
    request.headers = { "content-type": "application/json", "x-form-token": TOKEN };
    request.body = JSON.stringify(content);
  }
  try {
    const answer = await fetch(path, request);
    return { status: answer.status, body: await answer.json() };
  } catch {
    return null; // no network, no server, or half an answer
  }
}

function settle({ status, body }) {
  if (status >= 400) throw new Refused(status, body.error ?? "Something went wrong. Please reload.");
  say("");
  return body;
}
