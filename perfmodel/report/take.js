"use strict";
// Buttons that copy a text of the page, or save it as a file; nothing leaves the page but by them.
document.querySelectorAll(".take button").forEach((button) => {
  const box = button.closest(".take"), code = box.querySelector("code");
  const say = (text) => { box.querySelector("[role=status]").textContent = text; };
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (button.dataset.save !== undefined) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([code.textContent], { type: "text/plain" }));
      link.download = button.dataset.save;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      return say("saved");
    }
    try { await navigator.clipboard.writeText(code.textContent); } catch {
      getSelection().selectAllChildren(code);  // an older browser, or one that lets no file use the clipboard
      if (!document.execCommand("copy")) return say("selected: copy it with the keyboard");
    }
    say("copied");
  });
});
