// What adapters say, in Dutch: phrase by phrase, because names, addresses and the server's own words stand between them.
// What is not here is shown as it was said: an English sentence is better than none.

const DUTCH = [
  // OPC UA and the network
  [/nobody listens there/gu, "daar luistert niemand"],
  [/does not answer/gu, "antwoordt niet"],
  [/no longer answers/gu, "antwoordt niet meer"],
  [/no answer in time/gu, "geen antwoord binnen de tijd"],
  [/nobody answers/gu, "niemand antwoordt"],
  [/connection refused/giu, "verbinding geweigerd"],
  [/[Cc]onnection reset by peer/gu, "verbinding door de andere kant verbroken"],
  [/the connection was lost/gu, "de verbinding is verbroken"],
  [/connection lost/gu, "verbinding verbroken"],
  [/the server ended the session/gu, "de server heeft de sessie beëindigd"],
  [/the name '([^']*)' is not known/gu, "de naam '$1' is niet bekend"],
  [/the machine does not trust this collector yet/gu, "de machine vertrouwt deze collector nog niet"],
  [/no password goes over an unencrypted connection/gu, "over een onversleutelde verbinding gaat geen wachtwoord"],
  [/nobody signs in over an unprotected connection/gu, "over een onbeveiligde verbinding meldt niemand zich aan"],
  [/the server cannot prove that its certificate is its own/gu, "de server kan niet bewijzen dat zijn certificaat van hem is"],
  [/an error that nobody foresaw/gu, "een fout die niemand voorzag"],
  [/it did not come up in time/gu, "het kwam niet op tijd op"],
  [/ while signing in/gu, " bij het aanmelden"],
  [/ while asking what the server is/gu, " bij de vraag wat de server is"],
  [/ while asking how the server is/gu, " bij de vraag hoe het de server gaat"],
  [/ while making the subscription/gu, " bij het maken van het abonnement"],
  [/ while looking at the nodes/gu, " bij het bekijken van de nodes"],
  [/ while having the nodes monitored/gu, " bij het laten bewaken van de nodes"],
  [/ while taking up the subscription of the last session/gu, " bij het hervatten van het vorige abonnement"],
  [/ while reading the values/gu, " bij het lezen van de waarden"],
  [/the machine answers too slowly: see whether it is overloaded; if it stays so, a longer `request_timeout` gives it time/gu, "de machine antwoordt te traag: kijk of ze overbelast is; blijft het zo, dan geeft een langere `request_timeout` haar tijd"],
  // MQTT
  [/the broker's certificate is not accepted/gu, "het certificaat van de broker wordt niet aanvaard"],
  [/the broker (\S+) refuses user '([^']*)' \(not authorised\)/gu, "de broker $1 weigert gebruiker '$2' (geen recht)"],
  [/refuses every topic of this source/gu, "weigert elk topic van deze bron"],
  [/another client probably uses the client id '([^']*)' too/gu, "waarschijnlijk gebruikt een andere client ook de client-id '$1'"],
  // InfluxDB
  [/InfluxDB at (\S+) answered/gu, "InfluxDB op $1 antwoordde"],
  [/which does not say that the values are stored/gu, "wat niet zegt dat de waarden bewaard zijn"],
  [/InfluxDB at (\S+):/gu, "InfluxDB op $1:"],
  [/its name is not known/gu, "de naam is niet bekend"],
  [/no route to host/giu, "geen route naar dit adres"],
  [/network is unreachable/giu, "het netwerk is niet bereikbaar"],
  [/InfluxDB at (\S+) asks for (\S+) s of patience/gu, "InfluxDB op $1 vraagt $2 s geduld"],
  [/InfluxDB at (\S+) did not finish its answer within (\S+) s/gu, "InfluxDB op $1 was niet binnen $2 s klaar met antwoorden"],
  // What to do
  [/check that the machine is on and reachable/giu, "kijk of de machine aanstaat en bereikbaar is"],
  [/check that the OPC UA server runs, and its port/giu, "kijk of de OPC UA-server draait, en naar de poort"],
  [/check the network and the address/giu, "controleer het netwerk en het adres"],
  [/check the address, the network and the (firewall|broker)/giu, "controleer het adres, het netwerk en de $1"],
  [/check network and broker/giu, "controleer netwerk en broker"],
  [/is the server running, and is the address right\?/giu, "draait de server, en klopt het adres?"],
  [/is the broker running, and is the port right\?/giu, "draait de broker, en klopt de poort?"],
  [/is this the broker's TLS port\?/giu, "is dit de TLS-poort van de broker?"],
  [/is this the right address\?/giu, "is dit het juiste adres?"],
  [/see the broker's log/giu, "kijk in het log van de broker"],
  [/look at the log of the server/giu, "kijk in het log van de server"],
  [/if this is not its address, correct the url/giu, "als dit zijn adres niet is, verbeter dan de url"],
  [/look at the load of the server; a longer timeout may help/giu, "kijk naar de belasting van de server; een langere timeout kan helpen"],
  [/give a token \(v2\) or user and password \(v1\) that may write there/giu, "geef een token (v2) of gebruiker en wachtwoord (v1) met schrijfrecht"],
  [/make the bucket or database, or let the collector do it: create: true/giu, "maak de bucket of database, of laat de collector dat doen: create: true"],
  [/make a token that may read and write the bucket (\S+) only/giu, "maak een token dat alleen de bucket $1 mag lezen en schrijven"],
  [/set the right password in/giu, "zet het juiste wachtwoord in"],
  [/free space on its disk, or see whether it is mounted and writable/giu, "maak ruimte vrij op de schijf, of kijk of ze aangekoppeld en beschrijfbaar is"],
  [/disk full/gu, "schijf vol"],
  [/the sources wait/gu, "de bronnen wachten"],
];

export function said(words, language) {
  if (language !== "nl") return words;
  return DUTCH.reduce((text, [phrase, dutch]) => text.replace(phrase, dutch), words);
}
