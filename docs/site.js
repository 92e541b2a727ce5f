// The guides are open in the navigation until a reader closes them.
if (localStorage.getItem('tsd-accordion-Guides') === null) localStorage.setItem('tsd-accordion-Guides', 'true')
