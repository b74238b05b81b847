// The questions: radio buttons, one key for an answer, a draft that survives a reload.

export class Scales {
  constructor(form, changed) {
    this.groups = [...form.querySelectorAll(".scale")];
    this.fields = form.querySelector("fieldset");
    this.drawer = document.querySelector("meta[name=drawer]").content;
    this.changed = changed;
    form.addEventListener("change", () => {
      this.keep();
      changed();
    });
    for (const [place, group] of this.groups.entries())
      group.addEventListener("focusin", () => this.stand(place));
  }

  show(task) {
    this.task = task;
    const draft = this.draft();
    for (const group of this.groups)
      for (const choice of group.querySelectorAll("input"))
        choice.checked = draft[group.dataset.name] === Number(choice.value);
    this.stand(0);
  }

  open(is) {
    this.fields.disabled = !is;
  }

  get scores() {
    const said = {};
    for (const group of this.groups) {
      const chosen = group.querySelector("input:checked");
      if (chosen) said[group.dataset.name] = Number(chosen.value);
    }
    return said;
  }

  get missing() {
    return this.groups.length - Object.keys(this.scores).length;
  }

  stand(place) {
    this.place = Math.min(Math.max(place, 0), this.groups.length - 1);
    for (const [other, group] of this.groups.entries())
      group.classList.toggle("current", other === this.place);
  }

  focus() {
    const group = this.groups[this.place];
    (group.querySelector("input:checked") ?? group.querySelector("input")).focus({
      preventScroll: true,
    });
    group.scrollIntoView({ block: "nearest" });
  }

  // The key 1 is the first choice of the current question; then the next question is current.
  choose(number) {
    const choice = this.groups[this.place].querySelectorAll("input")[number - 1];
    if (!choice || this.fields.disabled) return false;
    choice.checked = true;
    this.keep();
    this.stand(this.place + 1);
    this.focus();
    this.changed();
    return true;
  }

  keep() {
    try {
      localStorage.setItem(this.key(), JSON.stringify(this.scores));
    } catch {
      // A browser that keeps nothing: a reload then loses this one draft.
    }
  }

  forget() {
    try {
      localStorage.removeItem(this.key());
    } catch {
      // As above.
    }
  }

  draft() {
    try {
      return JSON.parse(localStorage.getItem(this.key())) ?? {};
    } catch {
      return {};
    }
  }

  key() {
    return `tempo-study:${this.drawer}:${this.task}`;
  }
}
