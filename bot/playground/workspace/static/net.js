// Talking to the workspace.

export async function get(path, query) {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// What a person did; resolves to {failed, errors} or to {failed: sentence} when it was not possible.
export async function act(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    return answer.ok ? said : { failed: said.error };
  } catch {
    return { failed: "The workspace does not answer." };
  }
}

// Calls hear(kind, body) for every change; "hello" comes at each (re)connection, "offline" when it breaks.
export function listen(user, hear) {
  const stream = new EventSource(`/page/changes?${new URLSearchParams({ user })}`);
  for (const kind of ["hello", "message", "removed", "frame", "views", "home", "lagged"]) {
    stream.addEventListener(kind, (event) => hear(kind, event.data ? JSON.parse(event.data) : {}));
  }
  stream.addEventListener("error", () => hear("offline", {}));
  return () => stream.close();
}
