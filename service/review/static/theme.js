// Set the colours that were chosen before anything is drawn, so that no light page flashes in a dark room.
(() => {
  try {
    const chosen = localStorage.getItem("diaphane-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch { /* a browser that keeps nothing follows the system */ }
})();
