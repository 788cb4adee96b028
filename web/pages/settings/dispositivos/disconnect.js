// Asks what to do with the data before a connection ends, and says what will happen.

import { h } from "./dom.js";
import { CONSEQUENCES, records, say } from "./texts.js";

const LABELS = { keep: "Desconectar", erase: "Desconectar y borrar" };

/** Return "keep" or "erase", or null for neither; `only` leaves no choice. */
export function ask(name, count, only) {
  const said = h("p", { id: "consequence", role: "status" });
  const choices = h(
    "fieldset",
    {},
    h("legend", {}, "¿Qué hacemos con los datos que ya guardamos?"),
    choice("keep", "Conservarlos", true),
    choice("erase", "Borrarlos", false),
  );
  const yes = h("button", { type: "button", class: "button danger", value: "yes" });
  const no = h("button", { type: "button", class: "button quiet", value: "no" }, "Cancelar");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "question", "aria-describedby": "consequence" },
    h("h2", { id: "question" }, only ? `¿Borrar tus datos de ${name}?` : `¿Desconectar ${name}?`),
    only ? null : choices,
    said,
    h("div", { class: "actions" }, no, yes),
  );
  const chosen = () => only ?? choices.querySelector(":checked").value;
  const tell = () => {
    said.textContent = say(CONSEQUENCES, chosen(), name).replace("{n}", records(count));
    yes.textContent = only ? "Borrar" : LABELS[chosen()];
  };
  choices.addEventListener("change", tell);
  tell();
  document.getElementById("dialog").replaceChildren(dialog);
  return new Promise((resolve) => {
    no.addEventListener("click", () => dialog.close());
    yes.addEventListener("click", () => dialog.close(chosen()));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    dialog.showModal();
  });
}

const choice = (value, text, checked) =>
  h("label", {}, h("input", { type: "radio", name: "records", value, checked }), text);
