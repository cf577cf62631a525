// What makes pages live, and keys. Every page can be read without it.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const main = $("#main");
  const parse = (html) => new DOMParser().parseFromString(html, "text/html");

  // --- live pages: the stream of the same URL ---
  const morph = (target, content) => Idiomorph.morph(target, content, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      // What the reader has opened stays open, and what they type stays.
      beforeAttributeUpdated: (name, node) => !(name === "open" && (node.tagName === "DETAILS" || node.tagName === "DIALOG")),
      beforeNodeMorphed: (node) => !(node.nodeType === 1 && node.hasAttribute("data-keep")),
    },
  });

  let stream = null, again = 0, pause = 2000;
  const state = (name, text) => {
    const live = $("#live");
    live.hidden = false;
    live.dataset.state = name;
    $("b", live).textContent = text;
  };
  const close = () => { clearTimeout(again); if (stream) { stream.close(); stream = null; } };
  const open = () => {
    if (!main || !main.hasAttribute("data-live") || stream || document.hidden) return;
    stream = new EventSource(location.pathname + location.search);
    stream.addEventListener("page", (event) => {
      state("on", "live");
      pause = 2000;
      morph($("#page"), event.data);
      enhance();
    });
    stream.addEventListener("late", () => state("wait", "the engine is late"));
    stream.addEventListener("ping", () => state("on", "live"));
    stream.addEventListener("gone", () => { close(); location.reload(); });
    stream.onerror = () => {
      if (stream && stream.readyState === EventSource.CLOSED) {
        state("off", "not live");
        close();
        retry();
      } else {
        state("wait", "reconnecting");
      }
    };
  };
  // An answer that is no stream ends an EventSource for good: of an engine that starts, or has
  // enough pages. The page is asked for until it is there, or asks to sign in.
  const retry = () => {
    again = setTimeout(async () => {
      try {
        const answer = await fetch(location.href, { redirect: "manual" });
        if (answer.type === "opaqueredirect") location.reload();
        else if (answer.ok) open(); else retry();
      } catch { retry(); }
    }, pause);
    pause = Math.min(pause * 2, 60000);
  };
  // A hidden page needs no stream: browsers allow only six connections to one host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); if (main && main.hasAttribute("data-live")) state("off", "paused"); } else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });

  // --- actions: the confirmation in a dialog ---
  const dialog = $("#dialog");
  const show = (html) => {
    const page = parse(html);
    const body = $("#page", page);
    const title = $("h1", page);
    if (!body || !title || !$("#dialog", page)) { location.reload(); return; } // signed out
    const heading = document.createElement("h2");
    heading.id = "dialog-title";
    heading.textContent = title.textContent;
    dialog.replaceChildren(heading, ...body.childNodes);
    enhance();
    if (!dialog.open) dialog.showModal();
    const first = $("button.primary, .button", dialog);
    if (first) first.focus();
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-dialog]") || event.defaultPrevented) return;
    event.preventDefault();
    if (form.dataset.sent) return;
    form.dataset.sent = "1";
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)), redirect: "follow",
      });
      show(await answer.text());
    } catch {
      show('<h1>No answer</h1><div id="page"><p class="note bad">The engine did not answer. The same form can be sent again: it takes effect once.</p><p><a class="button" data-close href="#">Close</a></p></div><i id="dialog"></i>');
    } finally {
      delete form.dataset.sent;
    }
  });

  document.addEventListener("click", async (event) => {
    if (!(event.target instanceof Element)) return;
    const link = event.target.closest("[data-close]");
    if (link && link.closest("dialog")) {
      event.preventDefault();
      link.closest("dialog").close();
      if (link.hasAttribute("data-reload")) location.reload(); // forms show what is expected now
      return;
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      try { await navigator.clipboard.writeText(copy.dataset.copy); } catch { return; } // not allowed
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    }
  });

  // --- small things that need a script ---
  const enhance = () => {
    for (const button of document.querySelectorAll("button.copy[hidden]")) button.hidden = !navigator.clipboard;
    for (const range of document.querySelectorAll("input[type=range][data-go]")) {
      if (range.dataset.ready) continue;
      range.dataset.ready = "1";
      const label = document.getElementById(range.dataset.label);
      range.addEventListener("input", () => { if (label) label.textContent = range.value; });
      range.addEventListener("change", () => range.form.requestSubmit());
    }
  };
  const theme = $("#theme");
  if (theme) {
    theme.hidden = false;
    theme.addEventListener("click", () => {
      const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark")
        && (document.documentElement.dataset.theme === "dark" || matchMedia("(prefers-color-scheme: dark)").matches);
      const next = dark ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try { localStorage.setItem("tidemark-theme", next); } catch { /* storage is off */ }
    });
  }

  // --- keys ---
  const rows = () => [...document.querySelectorAll("#page [data-row], #page tbody tr a:first-of-type")]
    .filter((row) => row.offsetParent && (row.hasAttribute("data-row") || row.closest("tr").querySelector("a") === row));
  const step = (by) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.indexOf(document.activeElement);
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  const follow = (name) => { const link = $(`[data-key="${name}"]`); if (link) link.click(); return Boolean(link); };
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input:not([type=range]), textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) { typing.blur(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    switch (event.key) {
      case "/": $("#search").focus(); $("#search").select(); break;
      case "j": step(1); break;
      case "k": step(-1); break;
      case "[": if (!follow("back")) return; break;
      case "]": if (!follow("forward")) return; break;
      case "g": location.href = "/"; break;
      case "?": $("#keys").showModal(); break;
      default: return;
    }
    event.preventDefault();
  });

  const here = $(".rail [aria-current]"); // on a phone the pages are a row that scrolls
  if (here) here.parentNode.parentNode.scrollLeft = here.offsetLeft + here.parentNode.offsetLeft - 40;

  enhance();
  open();
})();
