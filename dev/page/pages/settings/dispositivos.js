// A click-through of the connection for `python3 -m dev up`: no product page, just its calls.

const { api, members } = await (await fetch("/dev/session.json")).json();
const at = (id) => document.getElementById(id);
const member = at("member");

for (const user of Object.keys(members)) member.add(new Option(user));
member.value = sessionStorage.getItem("member") ?? member.options[0].value;
member.onchange = () => {
  sessionStorage.setItem("member", member.value);
  show();
};

function call(path, options = {}) {
  const headers = { Authorization: `Bearer ${members[member.value]}` };
  return fetch(api + path, { ...options, headers });
}

function tell(text) {
  at("outcome").textContent = text;
  at("outcome").hidden = false;
}

async function explain(answer) {
  const problem = await answer.json().catch(() => ({}));
  tell(`${answer.status}: ${problem.detail ?? problem.title ?? answer.statusText}`);
}

at("connect").onclick = async () => {
  sessionStorage.setItem("member", member.value);
  // With credentials, so that the cookie which binds the ticket to this browser is kept.
  const answer = await call("/oauth/whoop/ticket/", { method: "POST", credentials: "include" });
  if (answer.ok) location.assign((await answer.json()).authorize_url);
  else await explain(answer);
};

at("sync").onclick = async () => {
  const answer = await call("/providers/whoop/sync/", { method: "POST" });
  if (answer.ok) await show();
  else await explain(answer);
};

async function show() {
  const status = await (await call("/providers/whoop/status/")).json();
  at("status").textContent = JSON.stringify(status, null, 2);
  at("resources").replaceChildren(
    ...(status.resources ?? []).map((resource) => {
      const row = document.createElement("tr");
      const progress = `${Math.round(100 * resource.progress)} %`;
      for (const text of [resource.resource, resource.state, resource.records, progress]) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}

const query = new URLSearchParams(location.search);
if (query.has("oauth")) {
  const reason = query.get("reason");
  tell(query.get("oauth") === "success" ? "Conectado." : `Sin conexión: ${reason}`);
  history.replaceState(null, "", location.pathname);
}

for (;;) {
  await show().catch((error) => tell(`La API no responde: ${error.message}`));
  await new Promise((later) => setTimeout(later, 1000));
}
